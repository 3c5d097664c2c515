// The payloads of what is for one user each, by the names that pages know: `connect<UserStreams>(…).subscribe("user")`.

import type { Message } from "./wire.js";

export interface ChainUpdatePayload {
  chainId: string;
  orders: ChainOrder[];
  status: "active" | "partial" | "completed" | "cancelled";
  symbol?: string;
  mode?: string;
  direction?: string;
  entryOrderId?: string;
  createdAt?: string;
  updatedAt?: string;
}

export interface ChainOrder {
  orderId?: string | number;
  type?: string;
  status?: string;
  side?: "BUY" | "SELL";
  price?: number;
  quantity?: number;
}

export interface LifecycleEventPayload {
  eventType: string;
  tradeId?: string;
  chainId?: string;
  symbol?: string;
  side?: string;
  mode?: string;
  details?: { [key: string]: unknown };
  timestamp?: string;
}

export interface GinieStatusPayload {
  isRunning: boolean;
  currentMode: string;
  activePositions: number;
  lastSignal: { [key: string]: unknown } | string | null;
  lastSignalTime?: string | null;
  dailyPnL?: number;
  status?: "idle" | "scanning" | "trading" | "paused" | "error";
  message?: string;
}

export interface CircuitBreakerPayload {
  isTriggered: boolean;
  triggerReason: string | null;
  resetTime: string | null;
  triggeredAt?: string | null;
  cooldownEnds?: string | null;
  dailyLossPercent?: number;
  maxAllowedLossPercent?: number;
}

export interface PnLPayload {
  totalPnL: number;
  dailyPnL: number;
  positionPnL: number | { [key: string]: unknown } | null;
  unrealizedPnL?: number;
  realizedPnL?: number;
  todayTrades?: number;
  winRate?: number;
}

export interface ModeStatusPayload {
  mode: string;
  enabled: boolean;
  activePositions?: number;
  dailyPnL?: number;
  status?: "active" | "paused" | "disabled";
}

export interface SystemStatusPayload {
  binanceConnected?: boolean;
  databaseConnected?: boolean;
  redisConnected?: boolean;
  websocketClients?: number;
  uptime?: number;
  lastHealthCheck?: string;
}

export interface SignalUpdatePayload {
  id: string;
  symbol: string;
  direction: "LONG" | "SHORT";
  status: "pending" | "executed" | "expired" | "cancelled";
  mode?: string;
  confidence?: number;
  entryPrice?: number;
  stopLoss?: number;
  takeProfit?: number[];
  generatedAt?: string;
  expiresAt?: string;
}

export interface UserPayloads {
  CHAIN_UPDATE: ChainUpdatePayload;
  LIFECYCLE_EVENT: LifecycleEventPayload;
  GINIE_STATUS_UPDATE: GinieStatusPayload;
  CIRCUIT_BREAKER_UPDATE: CircuitBreakerPayload;
  PNL_UPDATE: PnLPayload;
  MODE_STATUS_UPDATE: ModeStatusPayload;
  SYSTEM_STATUS_UPDATE: SystemStatusPayload;
  SIGNAL_UPDATE: SignalUpdatePayload;
}

export type WebSocketEventType = keyof UserPayloads;

/** What a `full_update` shows: the newest of everything. */
export interface UserRecords {
  chains: ChainUpdatePayload[];
  circuit_breakers: CircuitBreakerPayload[];
  ginie: GinieStatusPayload[];
  modes: ModeStatusPayload[];
  pnl: PnLPayload[];
  signals: SignalUpdatePayload[];
  system: SystemStatusPayload[];
}

export type UserMessage = { [Kind in WebSocketEventType]: Message<Kind, UserPayloads[Kind]> }[WebSocketEventType] | Message<"full_update", UserRecords>;

export interface UserStreams {
  user: UserMessage;
}
