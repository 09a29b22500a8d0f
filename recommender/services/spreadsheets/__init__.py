"""Small tables by spreadsheet, in and out. Large ones come in as an upload."""
