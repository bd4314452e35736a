"""The mind: who must do what, and what was concluded. It knows only the memory."""
