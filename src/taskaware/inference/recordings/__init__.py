"""Recordings of any length: cut at pauses, decoded, with times, as text or as subtitles."""
