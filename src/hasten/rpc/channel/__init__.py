"""The calling side: channels, calls, name resolution, balancing and retries."""
