"""The photo example as a web page: drop photos, watch their bars, come back later, take the PDF home."""
