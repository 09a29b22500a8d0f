import time, datetime, pytest
import polars as pl
from tests.extract import *
from recommender.services.ingest import load_export
from recommender.services.training import train
from recommender.services.snapshot import take_snapshot
from recommender.progress import ConsoleProgress
@pytest.mark.django_db
def test_x(tmp_path, settings):
    settings.DATA_DIR = tmp_path/"data"
    (tmp_path/"w").mkdir(); (tmp_path/"e").mkdir()
    t=time.time()
    write_extract(whole=tmp_path/"w", folder=tmp_path/"e", shift_to=datetime.date.today()-datetime.timedelta(days=1))
    print("write", time.time()-t); t=time.time()
    for p in (tmp_path/"e").iterdir(): print(p.stem, pl.read_parquet(p).height)
    r=pl.read_parquet(tmp_path/"e"/"redemptions.parquet"); print(dict(r.group_by("campaign_id").len().iter_rows()))
    print(pl.read_parquet(tmp_path/"e"/"campaign_shoppers.parquet").group_by("campaign_id").len())
    print(pl.read_parquet(tmp_path/"e"/"campaigns.parquet").filter(campaign_id="23"))
    open_shop()
    rep=load_export(folder=tmp_path/"e"); print([ (f.rows,f.new) for f in rep.files], rep.examples[:3])
    print("load", time.time()-t); t=time.time()
    report=train(progress=ConsoleProgress())
    print("train", time.time()-t, report.seconds, report.selection.reason, report.period)
    print([(v.algorithm,v.training_rows,v.training_positives, v.fit_seconds) for v in report.versions])
