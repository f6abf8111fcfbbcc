"""What a client passes before anything reads what it sends, and when it is hung up on."""
