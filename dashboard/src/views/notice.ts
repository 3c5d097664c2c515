// What the licence of Lightweight Charts wants to be said on each page that it draws on.

export const NOTICE = { text: "TradingView Lightweight Charts™ Copyright (c) 2026 TradingView, Inc.", address: "https://www.tradingview.com/" };
