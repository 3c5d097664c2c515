// As much of the package `ws` as the tests use.
declare module "ws" {
  export class WebSocket {
    constructor(url: string, protocol: string);
    terminate(): void;
  }
}
