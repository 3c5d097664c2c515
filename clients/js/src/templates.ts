// How parameters become topics, where the daemon is only told topics: by the templates that it describes.

import type { Params, Words } from "./wire.js";

export interface Template {
  /** `bars:{symbol}:{resolution}` */
  address: string;
  parameters?: { [name: string]: { default?: string } };
}

/** The topics of a subscription. Throws a sentence where a stream has no such parameter. */
export function topicsOf(words: Words, template: Template | undefined): string[] {
  if ("topic" in words) return [words.topic];
  const names = [...(template?.address ?? "").matchAll(/\{([^}]+)\}/g)].map(([, name]) => name!);
  const given = Object.keys(words.params ?? {}).filter((name) => words.params![name] != null);
  const strange = given.find((name) => !names.includes(name));
  if (strange) throw new Error(`${words.stream} has no parameter "${strange}"; it has: ${names.join(", ") || "none"}`);
  let topics = [words.stream];
  for (const name of names) {
    const parts = partsOf(words.params?.[name], template!.parameters?.[name]?.default);
    topics = topics.flatMap((topic) => parts.map((part) => `${topic}:${part}`));
  }
  const isWhole = (topic: string) => topic.split(":").slice(1).every((part) => part === "*");
  return topics.map((topic) => (isWhole(topic) ? words.stream : topic));
}

function partsOf(value: Params[string], usual: string | undefined): string[] {
  if (value == null) return [usual === undefined ? "*" : encode(usual)];
  return [value].flat().map((one) => encode(String(one)));
}

const encode = (part: string): string => part.replace(/[:*%]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
