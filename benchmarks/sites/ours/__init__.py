"""A site with pm_realtime, as its documentation recommends for production."""
