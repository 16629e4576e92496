"""What nobody saved or kept goes: asked twice, waited for in quarantine, written down, and undone while it waits."""
