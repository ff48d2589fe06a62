"""STAGE: text messages beside calls, through the operator's gateway, by signed webhook (docs/spec/text-notices.md)."""
