"""The end of a contract: everything under a policy is taken out, verified, and then erased with a certificate."""
