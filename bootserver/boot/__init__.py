"""What machines get from us, whatever the protocol; how a boot goes is decided here, once."""
