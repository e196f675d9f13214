"""Each bound of `hasten.rpc.Limits`, crossed by a peer that means harm or is merely large."""
