"""Gemini on Vertex AI: the wire of `providers.gemini` with Google Cloud's addresses, projects and logins.

For other rooms: `client.make`, `login.obtain`.
"""
