"""The scan of a folder of images, shared by training and by `unpaired data check`.

`inspection` opens one file, reads its header, decodes it once and gathers the facts; `headers` stops at the header.
`file_faults` names the faults of a file, `predicates` and `thumbnails` describe decoded images, `threads` runs a scan
on several threads. Training asks for the facts that it acts on; the doctor also for digests, thumbnails and faults.
"""
