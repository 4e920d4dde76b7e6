"""Data directories as versions of po_jupyter left them, and the promise that every later version goes on with them."""
