"""What striate is compared with."""
