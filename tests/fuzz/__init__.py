"""Coverage-guided fuzzing of the frame path; README.md says how to run it."""
