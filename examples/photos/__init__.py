"""An example on real input: a folder of photos becomes thumbnails, a contact sheet and a mail, each step a job."""
