"""LIO's configfs tree without a kernel: directories, attributes, rules and errnos of Linux 6.1.

tree             the object: looking, reading, writing, mkdir, rmdir, symlink; configfs' own rules
schema           what the tables are made of: files, groups, kinds of directories
context          what the rules share; values: text as the kernel reads it
core             target/, core/, HBAs
devices          storage objects: attributes, control, identity, reservations, lba_map
alua             logical unit groups, target port groups
luns             LUNs, node ACLs, mapped LUNs, for every fabric
iscsi            targets, portal groups: iscsi_attributes, iscsi_statistics, portals
other_fabrics    loopback and vhost, as configuration only
statistics       the SCSI MIB's tables
fuse             the tree as a mounted directory; links: what a link's target names
"""
