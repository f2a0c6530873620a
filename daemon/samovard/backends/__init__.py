"""One module for each kind of provider. Each keeps the contract in `samovard.model.backend` and knows no other room."""
