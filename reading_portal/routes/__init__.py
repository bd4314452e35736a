"""The JSON API, one file per noun; request and answer shapes stand beside their route."""
