"""Firefox and WebKit, driven by what their own makers ship, with one face for both.

``async with firefox.browser(folder) as browser`` runs one. Its profiles share nothing. The tabs of
a profile share cookies, locks and channels, as those of ``devtools`` do.
"""
