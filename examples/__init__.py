"""Programs that show Mainspring at work; run them from the folder above."""
