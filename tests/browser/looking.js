// Run in the page: every text with its contrast, every control with its name. Colours come from a canvas, as they are painted.
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((at) => top[at] * top[3] + under[at] * (1 - top[3]));
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), rgba("Canvas").slice(0, 3));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const seen = (element) => element.checkVisibility({ visibilityProperty: true });
  const texts = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || !seen(element) || element.closest("script, option")) continue;
    const style = getComputedStyle(element), under = ground(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    texts.push({ text: text.slice(0, 40), ratio: ratio(over(rgba(colour), under), under), needs: large ? 3 : 4.5 });
  }
  const controls = [...document.querySelectorAll("button, input, select, textarea, summary, img, svg[role=img], [role=region]")].filter(seen);
  const edges = controls.filter((one) => one.matches("input, select, textarea")).map((one) => {
    const colour = over(rgba(getComputedStyle(one).borderTopColor), ground(one));
    return { text: one.id || one.value, ratio: ratio(colour, ground(one.parentElement)), needs: 3 };
  });
  const named = (one) => one.getAttribute("aria-label") || one.alt || [...(one.labels ?? [])].map((label) => label.textContent).join("") || one.textContent;
  return { texts, edges, unnamed: controls.filter((one) => !named(one).trim()).map((one) => one.outerHTML.slice(0, 90)) };
}
