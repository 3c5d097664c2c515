// Which page is shown: the part of the address behind the #.

import { signal } from "@preact/signals";

const read = () => location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);

export const route = signal(read());
addEventListener("hashchange", () => {
  route.value = read();
  scrollTo(0, 0);
});

export const to = (...parts: string[]) => `#/${parts.map(encodeURIComponent).join("/")}`;
