"""Review by people: which rows to look at, one after the other, what was said of them, and what follows from it.

condition ──► sample ──► `ReviewSession`, a row at a time ──► HTTP
reviews ──► `corrections` of frames and files, `agreement` of people and model

For other rooms: `run_reviews.RunReviews`, `session.ReviewSession`, `corrections`.
"""
