"""Several hosts, made of network namespaces on this machine: one is cut off in the middle of a run.

They share nothing but a network to the database and the broker, and the folder of models and snapshots, which stands in
for a storage that all of them reach. A host that is cut off keeps computing and knows nothing of it.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.utils import timezone

from recommender.models import Job, Run
from tests.faults.servers import is_root
from tests.faults.site import Site, plan
from tests.faults.test_scoring import assert_whole

BRIDGE, PREFIX = "couponsite0", "10.213.7"
HERE = f"{PREFIX}.1"


def ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


def why_not() -> str:
    """Why this machine can make no hosts; nothing if it can."""
    if not is_root():
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the ip command of iproute2"
    name = f"try{os.getpid()}"  # several processes ask at the same moment
    made = ip("netns", "add", name, check=False)
    ip("netns", "delete", name, check=False)
    if made.returncode:
        return f"this machine makes no network namespaces: {made.stderr.strip()}"
    bridge = ip("link", "add", name, "type", "bridge", check=False)
    ip("link", "delete", name, check=False)
    return "" if not bridge.returncode else f"this machine makes no bridges: {bridge.stderr.strip()}"


NOT_HERE = why_not()
pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(NOT_HERE), reason=NOT_HERE)]


@dataclass
class Host:
    number: int

    @property
    def name(self) -> str:
        return f"couponsite-host{self.number}"

    @property
    def cable(self) -> str:
        return f"cs-host{self.number}"

    @property
    def command(self) -> list[str]:
        """What goes before a command to run it there."""
        return ["ip", "netns", "exec", self.name]

    def build(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self.cable, "master", BRIDGE, "up")
        for arguments in (
            ("addr", "add", f"{PREFIX}.{10 + self.number}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            ip("-n", self.name, *arguments)

    def demolish(self) -> None:
        ip("netns", "delete", self.name, check=False)
        ip("link", "delete", self.cable, check=False)

    def cut_off(self) -> None:
        """Pull its cable: nobody is told that a connection has ended."""
        ip("link", "set", self.cable, "down")

    def reconnect(self) -> None:
        ip("link", "set", self.cable, "up")


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    made = [Host(number) for number in range(3)]
    _demolish(made)
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", f"{HERE}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    try:
        for host in made:
            host.build()
        yield made
    finally:
        _demolish(made)


def _demolish(hosts: list[Host]) -> None:
    for host in hosts:
        host.demolish()
    ip("link", "delete", BRIDGE, check=False)


def test_a_host_is_cut_off_in_the_middle_of_a_run(site: Site, reference: str, hosts: list[Host]) -> None:
    site.listen_at(HERE)
    lost, *others = hosts
    # A block takes it so long that it is cut off with a shard in its hands.
    site.start_worker("lost", prefix=lost.command, FAULT_BLOCK_SECONDS="1")
    job = site.start_run()
    site.wait_for(lambda: site.scored() > 1, sweeping=True)
    held = site.run.shards.filter(state="pending", claim__isnull=False)
    site.wait_for(held.exists)
    lost.cut_off()
    (shard,) = held
    before = site.scored()
    workers = [site.start_worker(host.name, prefix=host.command) for host in others]
    job = site.finish(job)
    assert_whole(site, job, reference)
    shard.refresh_from_db()
    assert shard.state == "scored"
    assert shard.attempts >= 2, "another took over what it held"
    assert before < site.run.shards.count()

    # When it is back it finds that the run is done, and does the next, alone.
    done = site.run
    attempts, lists = _attempts(done), set(done.recommendations.values_list("pk", flat=True))
    for worker in workers:
        worker.kill()
    lost.reconnect()
    assert plan(as_of=timezone.now()) != done
    following = site.finish(site.start_run())
    assert following.state == Job.State.SUCCEEDED, site.describe()
    assert site.scored() == site.run.shards.count()
    assert _attempts(done) == attempts
    assert set(done.recommendations.values_list("pk", flat=True)) == lists, "nothing of it was written again"


def _attempts(run: Run) -> list[int]:
    return list(run.shards.order_by("number").values_list("attempts", flat=True))
