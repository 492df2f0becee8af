"""Critics: V_φ(s) or Q_φ(s, a), what they are fitted to, and how. One file a kind."""
