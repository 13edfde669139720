"""Plans, makes, resumes, prices and opens recordings."""
