"""Checks of a page for screen readers, weak eyes and small screens."""

ROLES_THAT_NEED_A_NAME = {
    "button",
    "checkbox",
    "combobox",
    "dialog",
    "heading",
    "link",
    "listbox",
    "log",
    "menuitem",
    "radio",
    "region",
    "searchbox",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
}


async def nodes(page):
    """Return role, name and properties of each node that assistive technology gets."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Accessibility.getFullAXTree")
    await session.detach()
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", "").strip(),
            {each["name"]: each["value"].get("value") for each in node.get("properties", ())},
        )
        for node in tree["nodes"]
        if not node["ignored"]
    ]


async def tab_to(page, target, max_presses=40):
    """Press Tab until ``target`` has the focus."""
    for _ in range(max_presses):
        if await target.evaluate("element => element === document.activeElement"):
            return
        await page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not among the first {max_presses} stops of Tab")


async def first_in_tab_order(page):
    """Return the text of the first element in tab order."""
    return await page.evaluate(
        """() => {
          const stops = [...document.querySelectorAll(
            "a[href], button, input, select, textarea, summary, [tabindex]",
          )].filter((stop) => !stop.disabled && stop.tabIndex >= 0 && stop.checkVisibility());
          const rank = (stop) => stop.tabIndex || Number.MAX_SAFE_INTEGER;
          return stops.sort((one, other) => rank(one) - rank(other))[0].textContent.trim();
        }"""
    )


async def overflow(page):
    """Return by how many pixels the page is wider than the window."""
    return await page.evaluate(
        "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


async def faint_texts(page):
    """Return visible texts with a contrast below 4.5 (WCAG AA), each after its contrast."""
    return await page.evaluate(
        """() => {
          const channels = (colour) => {
            if (!/^rgba?\\(/.test(colour)) throw new Error(`cannot read ${colour}`);
            const [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
            return { rgb: [red, green, blue], alpha };
          };
          const luminance = (rgb) => {
            const [red, green, blue] = rgb.map((value) => {
              const part = value / 255;
              return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
          };
          const backgroundOf = (element) => {
            for (let at = element; at; at = at.parentElement) {
              const { rgb, alpha } = channels(getComputedStyle(at).backgroundColor);
              if (alpha === 1) return rgb;
              if (alpha > 0) throw new Error(`half transparent: ${at.className}`);
            }
            throw new Error("no background");
          };
          const faint = [];
          for (const element of document.body.querySelectorAll("*")) {
            const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
            const text = element.matches("input, textarea")
              ? element.value || element.placeholder
              : own.map((node) => node.data).join("");
            if (!text.trim() || !element.checkVisibility()) continue;
            if (element.closest(":disabled, datalist, noscript")) continue;
            const pseudo = element.placeholder && !element.value ? "::placeholder" : null;
            const [dark, light] = [
              luminance(channels(getComputedStyle(element, pseudo).color).rgb),
              luminance(backgroundOf(element)),
            ].sort((one, other) => one - other);
            const contrast = (light + 0.05) / (dark + 0.05);
            if (contrast < 4.5) faint.push(`${contrast.toFixed(2)}: ${text.trim()}`);
          }
          return faint;
        }"""
    )


async def unreadable(page):
    """Return faint texts by colour scheme and overflow by window width, without empty results."""
    found = {}
    for scheme in "light", "dark":
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found[scheme] = await faint_texts(page)
    for width in 320, 768, 1280:
        await page.set_viewport_size({"width": width, "height": 640})
        found[width] = await overflow(page)
    return {case: value for case, value in found.items() if value}
