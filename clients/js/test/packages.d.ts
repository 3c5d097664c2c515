// As much of the packages as the tests use.
declare module "ws" {
  export class WebSocket {
    constructor(url: string, protocol: string);
    terminate(): void;
    on(event: "message", heard: (data: { toString(): string }) => void): void;
  }
}

// As much of `react-dom` as the pages use.
declare module "react-dom/client" {
  export function createRoot(element: Element): { render(node: unknown): void };
}
declare module "react-dom/server" {
  export function renderToString(node: unknown): string;
}
