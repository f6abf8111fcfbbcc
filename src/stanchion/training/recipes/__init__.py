"""One recipe per trained guard; the file has the guard's name."""
