"use client";
// The React component of the element <r3mes-miner>. It passes attributes on, and calls a function for each event.

import { createElement, useImperativeHandle, useLayoutEffect, useRef } from "react";
import "./r3mes-miner.js";

/** Maps each property that is a listener to the event that it listens to. */
const EVENTS = {
  onState: "r3mes:state",
  onStep: "r3mes:step",
  onProgress: "r3mes:progress",
  onSubmit: "r3mes:submit",
  onReward: "r3mes:reward",
  onError: "r3mes:error",
  onConsent: "r3mes:consent",
  onNeedsConsent: "r3mes:needs-consent",
  onNeedsPayee: "r3mes:needs-payee",
};

/** Shows the element <r3mes-miner>. The properties are those of `MinerProps` in react.d.ts. */
export function Miner({ ref, signer, ...props }) {
  const element = useRef(null);
  const latest = useRef(props);
  useImperativeHandle(ref, () => element.current, []);
  useLayoutEffect(() => {
    latest.current = props;
  });
  useLayoutEffect(() => {
    const listening = new AbortController();
    for (const [name, event] of Object.entries(EVENTS)) {
      const listener = ({ detail }) => latest.current[name]?.(detail);
      element.current.addEventListener(event, listener, listening);
    }
    return () => listening.abort();
  }, []);
  useLayoutEffect(() => {
    element.current.signer = signer;
  }, [signer]);
  const attributes = Object.entries(props).filter(([name]) => !(name in EVENTS));
  return createElement("r3mes-miner", { ...Object.fromEntries(attributes), ref: element });
}
