"""The porch: settings composed, processes started, the command line, the demo county."""
