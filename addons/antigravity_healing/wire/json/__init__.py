"""JSON as it comes: read as leniently as servers do, changed without touching other bytes."""
