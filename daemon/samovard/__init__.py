"""The samovar daemon: live conversations with language models behind two sockets."""
