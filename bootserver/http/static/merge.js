// Make a part of the page equal to a newly fetched one, touching only what differs: focus, open
// details and the place where one reads stay.

const KEPT = new Map([["DETAILS", ["open"]]]); // what people change, not the server

export function merge(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  mergeAttributes(old, fresh);
  mergeChildren(old, fresh);
}

function mergeAttributes(old, fresh) {
  const kept = KEPT.get(old.nodeName) ?? [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function mergeChildren(old, fresh) {
  const byKey = new Map();
  for (const child of old.children) if (child.dataset?.key) byKey.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.dataset?.key;
    const known = key ? byKey.get(key) : isUnkeyed(place) && isAlike(place, wanted) ? place : null;
    if (!known) {
      old.insertBefore(wanted, place);
      continue;
    }
    if (known === place) place = place.nextSibling;
    else old.insertBefore(known, place);
    merge(known, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

const isUnkeyed = (node) => node && !node.dataset?.key;
const isAlike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName;
