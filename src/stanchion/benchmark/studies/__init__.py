"""What measures one question each."""
