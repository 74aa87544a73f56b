// What keeps people from using a page, as far as a program can tell: what axe's rules of the same names look for.
() => {
  const found = [];
  const visible = (one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const all = (selector) => [...document.querySelectorAll(selector)].filter(visible);
  const name = (one) => one.getAttribute("aria-label") || one.labels?.[0]?.textContent || one.textContent || one.title;
  const say = (rule, one) => found.push(`${rule}: ${one.outerHTML.slice(0, 120)}`);

  if (!document.documentElement.lang) found.push("html-has-lang");
  if (!document.title) found.push("document-title");
  if (all("main").length !== 1 || all("h1").length !== 1) found.push("one main landmark and one h1");
  all("img").forEach((one) => one.hasAttribute("alt") || say("image-alt", one));
  all("svg[role=img]").forEach((one) => one.getAttribute("aria-label") || say("svg-img-alt", one));
  all("svg:not([role=img]):not([aria-hidden])").forEach((one) => say("svg without a role", one));
  all("button, a[href], summary").forEach((one) => name(one)?.trim() || say("button-name", one));
  all("input, select, textarea").forEach((one) => one.labels?.length || say("label", one));
  all("table").forEach((one) => one.querySelector("th[scope]") || say("table headers", one));
  all("pre").forEach((one) => one.scrollWidth <= one.clientWidth || one.tabIndex === 0 || say("scrollable-region-focusable", one));
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => found.push(`duplicate-id: ${id}`));
  let before = 0;
  all("h1, h2, h3, h4").forEach((one) => {
    const level = Number(one.localName[1]);
    if (level > before + 1) say("heading-order", one);
    before = level;
  });
  if (document.documentElement.scrollWidth > innerWidth) found.push(`wider than the window: ${document.documentElement.scrollWidth} > ${innerWidth}`);

  // WCAG 2.2, 1.4.3: contrast of text and what lies behind it.
  const channels = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !visible(one) || one.closest(".hidden, .skip, template, noscript")) continue;
    const style = getComputedStyle(one);
    const [a, b] = [light(channels(one.ownerSVGElement ? style.fill : style.color)), light(behind(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) say(`color-contrast ${ratio.toFixed(2)}`, one);
  }
  return found;
}
