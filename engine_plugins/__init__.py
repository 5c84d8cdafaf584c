"""Engine plugins: whatever has depth, camera and tracked points."""
