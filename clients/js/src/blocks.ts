// The lines of server-sent events as the texts that they carry.

/** Calls back with the data of every block, as long as the body lasts; comments count as signs of life. */
export async function blocks(body: ReadableStream<Uint8Array>, alive: () => void, told: (data: string) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let data: string[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines.map((each) => each.replace(/\r$/, ""))) {
      if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      if (line || !data.length) continue;
      told(data.join("\n"));
      data = [];
    }
  }
}
