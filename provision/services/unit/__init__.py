"""Write a service's systemd unit, plain or for Quadlet, and read it back."""
