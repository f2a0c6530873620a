"""One module for each kind of provider. Each keeps to the contract in `samovard.model.backend` and knows no other room."""
