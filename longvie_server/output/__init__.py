"""Output: frames become a folder that people look at: pictures, videos, a summary."""
