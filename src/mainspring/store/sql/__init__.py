"""What the SQL stores share: named statements in files, and requests as JSON documents."""
