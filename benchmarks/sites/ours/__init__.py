"""A site with pm_realtime, set up as its documentation says for production."""
