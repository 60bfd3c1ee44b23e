"""What the Channels documentation has for sites whose users log in."""
