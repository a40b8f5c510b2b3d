"""The file systems of a disc image, read by extent: ISO 9660, Rock Ridge, Joliet and UDF as one."""
