"""The edge's talk with central: events and audit entries out, deliveries in, receipts back. Edges dial out, always."""
