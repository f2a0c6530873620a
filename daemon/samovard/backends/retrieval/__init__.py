"""What the reader answers with: sentences out of Markdown, terms out of words, and BM25 over them. No I/O."""
